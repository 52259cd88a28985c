"""The process as the machine sees it: signals, systemd, descriptors, no core dumps.

Promises that a signal ends every command within its grace, and that a shortage of ours is never
booked as somebody else's failure. Imports telemetry and settings."""
