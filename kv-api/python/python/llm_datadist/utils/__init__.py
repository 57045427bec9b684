"""What the package's modules share."""
