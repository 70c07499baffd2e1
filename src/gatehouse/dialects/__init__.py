"""What the APIs' requests and answers say, one file per dialect. No I/O. `registry` is the door."""
