"""What is on the device and what waits in the machine's memory: sizes, plans made of them, and the moves themselves."""
