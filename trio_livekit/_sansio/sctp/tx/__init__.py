"""The sending half of an association: what is queued, what is under way, and how fast it may go."""
