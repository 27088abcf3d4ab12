"""Takes Stripe's events in: verified, routed, and committed before they are answered."""
