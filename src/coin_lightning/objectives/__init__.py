"""Token losses, one of which a run has (`conf/objective`)."""
