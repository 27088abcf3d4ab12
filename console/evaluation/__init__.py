"""What a policy would do, before it is switched on: the brain that runs live, over failures that are made up or past.

No database: the same pure `decide`, asked again and again. Only a back-test's reading of the past knows Stripe.
"""
