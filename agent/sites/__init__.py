"""What differs between AWS and hosts."""
