"""How an insert becomes work: the change stream as a doorbell, checkpoints, and searches of every gap.

Promises that nothing inserted after the process began is missed, and that leads from before the first
start are left alone. Imports the queue and mongo.
"""
