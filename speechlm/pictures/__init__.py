"""Pictures of trainings and results: what they show is read elsewhere, here it is drawn."""
