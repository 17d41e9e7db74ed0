"""What a training did: tables and a figure."""
