"""Windows to slices to receipts."""
