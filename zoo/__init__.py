"""How the published models were made: the table of runs, their state, and each run again."""
