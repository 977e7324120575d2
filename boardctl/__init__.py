"""The operator's command line, and `up`: the whole system on one machine."""
