"""The pages that an operator reads in a browser: routes, views (values in, values of templates out), drawings."""
