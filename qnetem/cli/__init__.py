"""qnetem.cli: the command `qnetem`, one file per group of verbs.

Modules import at their top what is cheap; what a verb needs is imported when it runs, so that `--help` and
`version` answer at once.
"""
