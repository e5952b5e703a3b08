"""What the fault campaign (tools/fault_campaign.py) does to a recipe, and what it says then."""
