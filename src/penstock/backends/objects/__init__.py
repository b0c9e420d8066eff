"""Keys as objects of a bucket, in any service that obstore speaks to."""
