"""What will a backfill read, and how long may it take? Asks Cloudlock for one count a day; reads and writes nothing."""
