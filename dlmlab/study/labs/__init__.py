"""What an elective lab needs beyond the rooms: one file a lab; a lab imports no other lab."""
