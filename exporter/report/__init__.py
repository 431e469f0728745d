"""What an export leaves for people, `report.html`, one file that reads offline; the same figures in `report.json`."""
