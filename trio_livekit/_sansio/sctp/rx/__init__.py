"""The receiving half of an association: which TSNs arrived, and the messages they make."""
