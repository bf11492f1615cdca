"""What several tests share: servers, peers, leak checks, cancellation."""
