"""The ledger of enrollments: what identifies an application, its states, and the rows as the event loop sees them."""
