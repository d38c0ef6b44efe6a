"""What happens to one packet, rule by rule: in netfilter, and in XDP. And which packet a rule decides."""
