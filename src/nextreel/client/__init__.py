"""A client of the HTTP API, needing httpx, msgspec and stamina alone: the extra `client`.

    with Client("https://recommend.example.org") as client:
        for place in client.recommendations("person-7", n=5).recommendations:
            print(place.title, place.reason)

`AsyncClient` has the same methods, to be awaited. The key comes from `api_key` or from NEXTREEL_API_KEY.
"""

from nextreel.client.clients import AsyncClient, Client
from nextreel.client.errors import ApiError, ClientError, NoAnswer
from nextreel.client.shapes import Context, Feedback, Filters, Upload, Wanted

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "Context",
    "Feedback",
    "Filters",
    "NoAnswer",
    "Upload",
    "Wanted",
]
