"""ControlNet and its relatives. The adapters are in nets, t2i and ip; here is nothing to set up."""
