"""The vendor's archive on this computer, and the bucket it goes to."""
