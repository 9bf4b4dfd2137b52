"""What a user is told of model files, and how new ones come: metadata, notes, preview pictures, downloads. No torch."""
