"""One joined room: what can be lost and regained while the user's blocks stay open."""
