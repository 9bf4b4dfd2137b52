"""The runtime: jobs and their queue, pictures in and out. Knows an engine by its interface alone; needs no torch."""
