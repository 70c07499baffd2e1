"""Who asks. Today: which credentials a request carries."""
