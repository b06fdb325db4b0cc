"""What ended a run from outside: a process that was killed, a machine that is full."""
