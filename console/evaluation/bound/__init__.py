"""What nobody can exceed who does not know the customer: the bound, by dynamic programming on small worlds.

    best.py      the best attempts for customers with one span of money each, exactly (pure)
    small.py     the generator's worlds, made so small that this is exact
    law.py       the law by which a small world's customers are drawn, without drawing them
    strategies.py  who knows what: the generator, the world, or what our planner knows
    planner.py   our planner's choice beside the best one, for its own stories
    measure.py   all of them in the same worlds; what follows for anybody with so many attempts
    report.py    tables and JSON

`console/evaluation/README.md` says what follows from it, and what does not.
"""
