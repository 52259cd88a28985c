"""Programs of others that read and write leads beside the daemon, in their own ways."""
