"""Does the program drop only what netfilter would have dropped? Asked of one set of rules, frame by frame.

The parts, in the order of use; each is a value or a function without state, so that tests and random
testing put them together as they like:

    host, place = settle(host)                         # place.py: addresses and MACs that frames are made for
    frames = derive(rulesets, lists, place, limit=…)   # derive.py: from the rules and from the decisions
    rulings = PlanSubject(plan, host).rule(frames)     # planned.py: the optimised plan, in Python, no root
    with loaded(c_text, host) as subject:              # program.py: the compiled program, BPF_PROG_TEST_RUN,
        rulings = subject.rule(frames)                 #   in a namespace of its own whose conntrack is empty
    result = compare(rulesets, host, frames, rulings)  # compare.py: against the reference interpreter
    result.disagreements                               # empty, or what must not be

    with Bench(place) as bench:                        # kernel.py: real netfilter in a namespace pair
        bench.restore(text, variant, family); bench.survivors(frames)

`model.py` has the values: `Frame`, `Place`, `Ruling`, `Disagreement`, `Comparison`. The judge is
reference/, which shares nothing with the compiler; what is here may read plans and decisions, but only
to find frames and to name what was reached.
"""
