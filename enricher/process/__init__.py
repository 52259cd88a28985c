"""The process as the machine sees it: signals, systemd, descriptors, no core dumps.

Promises that a signal ends every command within its grace, and that a shortage of ours is never blamed on
anybody else. Imports telemetry.
"""
