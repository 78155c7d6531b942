"""What Prometheus is told (docs/metrics.md), from the database and the broker at the moment of the scrape.

Web and workers are many processes on many hosts, so no process counts for itself: what stands is counted as
it stands (`state`), what has happened is counted from the rows that record it (`facts`). Days that are over
are added up once (`totals`), so that a scrape reads two or three days of rows, however old the installation.
"""
