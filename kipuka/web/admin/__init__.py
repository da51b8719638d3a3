"""The admin API: what an administrator's program reads and does, in JSON, and its OpenAPI description.

A route cannot be written without saying who may call it (:mod:`kipuka.web.admin.routing`), and what is described is
what is routed: the description is made from the routes.
"""
