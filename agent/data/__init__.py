"""The cluster's PostgreSQL and Redis: where they keep their data, who may ask them, who does."""
