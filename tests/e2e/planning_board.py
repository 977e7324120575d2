"""A small sprint-planning board, as a team and its agents would leave it. For pictures."""

from io import BytesIO

from PIL import Image, ImageDraw

from tests.e2e.agent import Agent

COLUMNS = (("To do", 0), ("In progress", 500), ("Done", 1000))
COLUMN_WIDTH, COLUMN_HEIGHT = 460, 720
NOTES = (
    (20, 60, "black", "Invite teammates by link"),
    (240, 60, "black", "Export a board as PDF"),
    (20, 280, "light-blue", "Search across boards"),
    (240, 280, "black", "Templates for retros"),
    (520, 60, "light-green", "Reconnect without losing edits"),
    (740, 60, "light-green", "Agent badges in the presence bar"),
    (1020, 60, "violet", "Read-only links"),
    (1240, 60, "violet", "Images go to a store"),
)
FINDINGS = (
    "Eleven of fourteen interviews ask for links that need no account.\n"
    "Nobody mentioned offline use, but four of them work on trains."
)
BURNDOWN = (34, 33, 29, 27, 27, 21, 18, 12, 9)


async def furnish(agent: Agent) -> None:
    """Write the board."""
    await agent.post(
        type="text", x=330, y=-150, content={"text": "Sprint 12: boards for whole teams"},
        style={"size": "xl", "font": "sans"}, created_by="planner",
    )  # fmt: skip
    for title, x in COLUMNS:
        await agent.post(
            type="frame", x=x, y=0, width=COLUMN_WIDTH, height=COLUMN_HEIGHT, content={"title": title},
            created_by="planner",
        )  # fmt: skip
    for x, y, color, text in NOTES:
        await agent.post(type="sticky", x=x, y=y, content={"text": text}, style={"color": color}, created_by="planner")
    await agent.post(
        type="document", x=520, y=290, width=300, content={"title": "Interview findings", "text": FINDINGS},
        style={"color": "orange", "font": "sans", "size": "s"}, created_by="researcher",
    )  # fmt: skip
    await agent.post(
        type="shape", x=40, y=530, width=380, height=150, created_by="planner",
        content={"text": "Decide on Thursday: which two?", "shape": "ellipse"},
        style={"color": "blue", "fill": "solid", "dash": "dashed", "font": "sans"},
    )  # fmt: skip
    await agent.upload("burndown", burndown())
    await agent.post(
        type="image", x=1030, y=320, width=400, height=250, created_by="analyst",
        content={"asset_id": "burndown", "alt": "Burndown: nine of 34 points are left"},
    )  # fmt: skip


def burndown() -> bytes:
    """Return a small chart as a PNG."""
    width, height, margin = 800, 500, 50
    chart = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(chart)
    pen.line([(margin, margin), (margin, height - margin), (width - margin, height - margin)], "#94a3b8", 4)
    across, up = (width - 2 * margin) / (len(BURNDOWN) - 1), (height - 2 * margin) / BURNDOWN[0]
    points = [(margin + day * across, height - margin - left * up) for day, left in enumerate(BURNDOWN)]
    pen.line([points[0], (width - margin, height - margin)], "#cbd5e1", 3)
    pen.line(points, "#2563eb", 8, joint="curve")
    for x, y in points:
        pen.ellipse((x - 9, y - 9, x + 9, y + 9), "#2563eb")
    file = BytesIO()
    chart.save(file, "PNG")
    return file.getvalue()
