"""What a run will ask and how it will judge, shown before anything is paid for; nothing is written."""
