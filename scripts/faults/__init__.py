"""What can go wrong in a week on a cluster, done on purpose; each module has some faults, a function each."""
