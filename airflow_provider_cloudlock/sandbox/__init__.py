"""A stand-in for the Cloudlock API, to try the provider and to test DAGs without a tenant."""
