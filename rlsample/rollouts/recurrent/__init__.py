"""Policies with a memory: what they carry along while acting, and the sequences they learn from."""
