"""What the daemon costs, beside what the same work costs at the least. Run by `make bench`."""
