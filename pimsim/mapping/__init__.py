"""Which cell holds which weight, and which rows need not be driven."""
