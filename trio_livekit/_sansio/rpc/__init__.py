"""Remote procedure calls: what becomes of the calls we make, and which of those made to us are run."""
