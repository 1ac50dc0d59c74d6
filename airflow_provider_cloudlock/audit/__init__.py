"""Is the lake whole? Reads the receipts and looks at the objects; writes nothing, and needs no access to Cloudlock."""
