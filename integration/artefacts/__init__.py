"""The files of SPEC section 11, rebuilt from the database at any time, byte for byte.

`service` reads one consistent snapshot (`rows`), renders it by pure functions (`summary`, `documents`,
`issue_files`, `incident`) and hands the bytes to `writer`. Nothing here reads a clock: every time comes from a row.
"""
