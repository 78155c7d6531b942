"""The pages of a person on call: run board, run, attempt, trends. They read; what changes, changes by services.

They stand beside the admin's tables, under its address, log-in and permissions, and here because they show
runs, issues and gates together. Their pages hold no script, no style and no text that is evaluated.
"""
