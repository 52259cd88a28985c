"""How an insert becomes work: the change stream as a doorbell, checkpoints, and searches of every gap.

Promises that nothing is missed after the process began, and that what stood there before is left
alone. Imports the queue and mongo."""
